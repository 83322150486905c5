"""What an answer may say: grammars of calls and answers, and llguidance that holds the model to them."""
