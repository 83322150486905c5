"""What the operating system tells of the machine in files, for the server and for each engine's process."""
