"""What a scenario may say, read from YAML and checked."""
