"""Does it do what was said? Sentences in, a report out; a real Home Assistant core is the judge."""
