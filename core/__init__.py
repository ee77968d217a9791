"""What every room may use: the errors and the settings. Knows no other room."""
