"""Who may do what: certificates, users, roles, keys."""
