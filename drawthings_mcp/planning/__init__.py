"""Parameters and what the server has → a plan of requests that it survives and answers as asked. Pure: no I/O."""
