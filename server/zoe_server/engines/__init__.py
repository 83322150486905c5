"""One room per kind of engine, one door (`base.Engine`)."""
