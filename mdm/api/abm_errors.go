package api

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// refusal is what an error about Apple Business Manager is answered with.
type refusal struct {
	status        int
	code, message string
	word          string        // Apple's, or one of ours in its place; empty: there is none
	wait          time.Duration // what Retry-After says
}

// refusalOf is false for other errors. Refusals of Apple's are 502, because the request is not to blame; unless it is, as a
// profile that Apple does not take. What may succeed later is 503.
func refusalOf(err error) (refusal, bool) {
	var e *dep.Error
	p, problem := dep.AsProblem(err)
	switch {
	case errors.As(err, &e):
		return appleSays(e), true
	case errors.Is(err, dep.ErrOtherServer):
		return refusal{status: http.StatusConflict, code: "other server",
			message: dep.ErrOtherServer.Error() + "; with other=1 it is taken, and all devices are fetched anew"}, true
	case errors.Is(err, dep.ErrOtherKey):
		return refusal{status: http.StatusBadRequest, code: "other key", message: dep.ErrOtherKey.Error()}, true
	case errors.Is(err, dep.ErrNotToken):
		return refusal{status: http.StatusBadRequest, code: "not a token", message: cause(err)}, true
	case problem: // of the token, which was not even tried
		return refusal{status: http.StatusConflict, code: strings.ToLower(strings.ReplaceAll(p.Code, "_", " ")), message: p.Text, word: p.Code}, true
	}
	return refusal{}, false
}

// appleSays is the answer to a call to Apple that failed. Why a connection did is for the log.
func appleSays(e *dep.Error) refusal {
	r := refusal{status: http.StatusBadGateway, code: "refused", word: string(cmp.Or(e.Code, e.Reason))}
	p, problem := e.Problem()
	class := mdm.CodeOf(e)
	switch {
	case problem:
		r.word, r.message = p.Code, p.Text
	case class == mdm.Unavailable:
		r.status, r.code, r.wait = http.StatusServiceUnavailable, mdm.Unavailable.String(), max(e.RetryAfter, leastWait)
		r.message = "Apple is not reached, has trouble or asks to be asked later"
	case class == mdm.Malformed && r.word != "" && e.Code != dep.ErrMalformedBody:
		r.status, r.code, r.message = http.StatusBadRequest, mdm.Malformed.String(), "Apple does not take it: "+r.word
	default:
		r.message = "Apple refused it: " + cmp.Or(r.word, e.Text, http.StatusText(e.Status))
	}
	return r
}

// cause is the text of an error without its code and where it comes from.
func cause(err error) string {
	if e, ok := errors.AsType[*mdm.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}
