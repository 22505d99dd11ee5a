-- Goes on with the first unfinished stage.
obj.spec.suspend = false
return obj
