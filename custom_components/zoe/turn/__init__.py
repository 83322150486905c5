"""From what somebody said to an answer: the requests to the server, the tool calls, and what guards them."""
