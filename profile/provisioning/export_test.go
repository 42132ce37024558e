package provisioning

// Decode reads the content of a file, so that it can be fuzzed without a signature that fits.
var Decode = decode
