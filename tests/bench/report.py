def rows(v): return v
def table(r): return str(r)
