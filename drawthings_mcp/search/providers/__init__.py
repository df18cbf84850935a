"""Pictures on the web, when somebody asks for them: one provider per file, all with the contract of ``provider``."""
