"""For other programs: the REST API, OpenAI's protocol, MCP, and the gate before them."""
