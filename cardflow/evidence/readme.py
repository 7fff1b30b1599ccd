# filled below
README = ""
