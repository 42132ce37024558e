package main

import (
	"go.yaml.in/yaml/v3"
)

// document is one file of the schema.
type document struct {
	path     string // in the schema
	kind     string // the attribute that names it: requesttype, payloadtype, …; empty for errors
	name     string // its value
	apply    string
	support  support
	keys     []*key
	response []*key
	reasons  []string
}

// key is one key of a dictionary, the items of an array, or the values of a dictionary with free keys.
type key struct {
	at       string // file:line
	name     string
	kind     string // string, integer, real, boolean, date, data, array, dictionary, any
	required bool
	secret   bool
	empty    bool // an empty string has a meaning
	def      string
	enum     []string
	rng      *rng
	minItems int // of an array
	maxItems int
	repeat   [2]int // of the items of an array, where the schema says how many there are
	format   string
	combine  string
	assets   []string
	contents []string
	typeName string // subkeytype
	support  support

	keys   []*key
	item   *key
	value  *key
	union  []*key
	up     int  // the value is formed like the key that many levels above, same
	same   *key // of up
	values map[string]support

	node *yaml.Node // of the list of keys: the same node is the same Go type

	goName string
	goType string
}

type rng struct {
	min, max     string
	noMin, noMax bool
}

// support is by platform; the order of platforms is fixed.
type support map[string]*system

var platforms = []string{"iOS", "macOS", "tvOS", "visionOS", "watchOS"}

// system has the conditions on one platform: attribute of schema.OS → Go expression.
type system struct {
	introduced, deprecated, removed, rights string
	deviceChannel, userChannel, supervised  string
	requiresDEP, userApproved, manual       string
	multiple, skippable, beta               string
	userEnrollment, sharedIPad              string
	sharedDevice, sharedUser                string
	enrollments, scopes, sharedScopes       []string
}
