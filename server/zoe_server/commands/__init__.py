"""What the commands of `zoe` besides `serve` and `doctor` do, one file for each group."""
