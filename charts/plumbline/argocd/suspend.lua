-- The Job at work is deleted; finished stages stay.
obj.spec.suspend = true
return obj
