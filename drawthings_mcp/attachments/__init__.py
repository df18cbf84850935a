"""Which pictures a model gets to see, and the previews it sees.

``budget`` decides by ids and sizes, and says what became of each picture; ``encoding`` makes the previews.
"""
