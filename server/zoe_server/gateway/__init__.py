"""HTTP in, HTTP out. The gateway knows no engine and never loads llama_cpp."""
