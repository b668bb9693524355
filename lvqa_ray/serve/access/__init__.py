"""Access control of the service: credentials of clients, and addresses of videos."""
