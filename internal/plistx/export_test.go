package plistx

// AsXML returns data, an XML or binary property list, as the XML that Unmarshal decodes.
func AsXML(data []byte, l Limits) ([]byte, error) {
	t := newTree(l)
	return t.read(data, true)
}
