"""The llama.cpp engine: one process per model, continuous batching, one prefill shared by all who need it.

Only `runner`, `sampler` and `tokenizer` import `llama_cpp`: one wrong argument to the C library ends the process
without a Python exception, so nothing here is imported by the gateway.
"""
