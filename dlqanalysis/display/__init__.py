"""What a notebook shows and how: tables, live tables, progress, what is revealed; harmless without plotly.

Nothing is imported here: `extension` wants IPython, which whoever only draws or writes a sheet need not have.
"""

#: Marks the output of a frame without rows, with the sentence that stands for it.
EMPTY = "dlq_empty"
#: Marks an output that is not redacted, which no report may show.
REVEALED = "dlq_revealed"
