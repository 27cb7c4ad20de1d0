"""What a notebook shows and how: tables, live tables, progress, what is revealed; harmless without plotly.

Nothing is imported here: `extension` wants IPython, which whoever only draws or writes a sheet need not have.
"""
