"""What works, what does not, and which switch to flip: the questions of ``drawthings-mcp doctor``.

Importing it loads nothing heavy, so that a broken installation is a finding and not a traceback.
"""

from drawthings_mcp.doctor.examination import Diagnosis, diagnose
from drawthings_mcp.doctor.finding import Finding, Status
from drawthings_mcp.doctor.values import SettingValue, list_values

__all__ = ["Diagnosis", "Finding", "SettingValue", "Status", "diagnose", "list_values"]
