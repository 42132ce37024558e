package cms

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// attribute is a signed attribute; values are its values, one after the other.
type attribute struct {
	id     asn1.ObjectIdentifier
	values cryptobyte.String
}

// readAttributes reads a SET OF Attribute and reports whether it is one.
func readAttributes(set cryptobyte.String) ([]attribute, bool) {
	var all cryptobyte.String
	if !set.ReadASN1(&all, casn1.SET) || !set.Empty() {
		return nil, false
	}
	var list []attribute
	for !all.Empty() {
		var a attribute
		var one cryptobyte.String
		if !all.ReadASN1(&one, casn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&a.id) ||
			!one.ReadASN1(&a.values, casn1.SET) || !one.Empty() {
			return nil, false
		}
		list = append(list, a)
	}
	return list, true
}

// single returns the value of an attribute that is there once, with one value: RFC 5652, section 11, demands it of
// those that are read here. Otherwise it returns nil.
func single(list []attribute, id asn1.ObjectIdentifier) cryptobyte.String {
	var found cryptobyte.String
	for _, a := range list {
		if !a.id.Equal(id) {
			continue
		}
		var value cryptobyte.String
		var tag casn1.Tag
		if found != nil || !a.values.ReadAnyASN1Element(&value, &tag) || !a.values.Empty() {
			return nil
		}
		found = value
	}
	return found
}

// signingTime returns what the attributes say, or zero.
func signingTime(list []attribute) time.Time {
	var at time.Time
	value := single(list, pkcs7.OIDAttributeSigningTime)
	read := value.ReadASN1GeneralizedTime
	if value.PeekASN1Tag(casn1.UTCTime) {
		read = value.ReadASN1UTCTime
	}
	if !read(&at) {
		return time.Time{}
	}
	return at
}

// signedAttributes writes the DER SET of the signed attributes.
func signedAttributes(digest []byte, at time.Time) ([]byte, error) {
	list := [][]byte{
		writeAttribute(pkcs7.OIDAttributeContentType, oid(pkcs7.OIDData)),
		writeAttribute(pkcs7.OIDAttributeMessageDigest, der(casn1.OCTET_STRING, digest)),
	}
	if !at.IsZero() {
		value, err := asn1.Marshal(at.UTC())
		if err != nil {
			return nil, fmt.Errorf("cms: signing time: %w", err)
		}
		list = append(list, writeAttribute(pkcs7.OIDAttributeSigningTime, value))
	}
	slices.SortFunc(list, bytes.Compare) // a DER SET is sorted
	return der(casn1.SET, list...), nil
}

func writeAttribute(id asn1.ObjectIdentifier, value []byte) []byte {
	return der(casn1.SEQUENCE, oid(id), der(casn1.SET, value))
}
