package plistx

import (
	"errors"
	"fmt"
)

// What may be wrong with a property list. Test for them with errors.Is.
var (
	// ErrTooLarge is a document over [Limits].Bytes.
	ErrTooLarge = errors.New("plistx: property list too large")
	// ErrTooDeep is a document nested deeper than [Limits].Depth.
	ErrTooDeep = errors.New("plistx: property list nested too deeply")
	// ErrTooMany is a document of more than [Limits].Elements values, keys and comments.
	ErrTooMany = errors.New("plistx: property list has too many elements")
	// ErrSyntax is a document that is not a property list, or not one that every reader would read alike.
	ErrSyntax = errors.New("plistx: not a valid property list")
	// ErrType is a valid document that does not fit the Go value it should be stored in.
	ErrType = errors.New("plistx: property list does not fit the Go type")
)

// fault is a refusal by the scan. It says where and by which rule, and holds nothing of the document.
type fault struct {
	err  error
	rule string
	at   int
}

func (f *fault) Error() string { return fmt.Sprintf("%v: %s at byte %d", f.err, f.rule, f.at) }

func (f *fault) Unwrap() error { return f.err }

func syntax(at int, rule string) error { return &fault{ErrSyntax, rule, at} }
