"""The contract of Plumbline: kinds, names, reasons and the files its programs exchange."""
