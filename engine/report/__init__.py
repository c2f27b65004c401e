"""From a run folder to a page and a table.

Doors: `folder.RunFolder` writes and reads, `page.write_page` and `terminal.print_run` show.
"""
