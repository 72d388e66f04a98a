"""Access to the console: logins, sessions, and protection against other web pages."""
