"""One merge, measured four ways: ours, the design that it replaced, the floor, and a user's own script.

All four begin with what polling left on a local folder and end with a closed Chroma directory (the floor: with an
index's file); what is brought from one place to another is copied between folders.
"""
