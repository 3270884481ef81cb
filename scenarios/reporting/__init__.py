"""What the command line prints, and reports."""
