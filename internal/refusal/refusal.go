// Package refusal is what the ways in answer a device that they do not let in.
package refusal

import (
	"net/http"

	"github.com/gomdm/applemdm/mdm"
)

// RetryAfter is when to come again after an Unavailable answer, in seconds.
const RetryAfter = 60

// Status is the one place where the errors of ways in become HTTP. Nothing is 401: a device would ask its user to log in again and
// again. Whatever else a hook may have to say of a device is a refusal: who is not managed yet has nothing to lose by it.
func Status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	switch mdm.CodeOf(err) {
	case mdm.Internal:
		return http.StatusInternalServerError
	case mdm.Unavailable:
		return http.StatusServiceUnavailable
	case mdm.Malformed:
		return http.StatusBadRequest
	case mdm.TooLarge:
		return http.StatusRequestEntityTooLarge
	default:
		return http.StatusForbidden
	}
}

// Ours is an error of a hook, a store or a signer of op. The device cannot have sent what these call malformed.
func Ours(op string, err error) error {
	if err == nil {
		return nil
	}
	if code := mdm.CodeOf(err); code == mdm.Malformed || code == mdm.TooLarge {
		return mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	return err
}
