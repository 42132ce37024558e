package ade

// The parsers, for their fuzz targets.
var (
	ReadInfo    = readInfo
	ParseDigest = parseDigest
)
