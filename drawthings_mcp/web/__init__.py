"""HTTP to others than Draw Things servers: public addresses, and endpoints that the user named."""
