package main

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/practice"
)

// clearPasscode is the door of the guard:
//
//	curl -H "Authorization: Bearer $APPLEMDM_API_TOKEN" -d '{"device": "…", "actor": "mary", "reason": "ticket 7", "possession": true}' \
//	     http://127.0.0.1:8080/guard/clear-passcode
//
// Possession says that somebody has seen the device in the hands of its owner. All of it goes on record, what is refused, too. Who
// has the token is believed to be the actor: a product knows its people, and asks a second one ([practice.Guard.SecondApprover]).
func (a *app) clearPasscode(w http.ResponseWriter, r *http.Request) {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(given), a.o.token.Reveal()) != 1 {
		http.Error(w, "the token is missing or wrong", http.StatusUnauthorized)
		return
	}
	var ask struct {
		Device        mdm.EnrollmentID
		Actor, Reason string
		Possession    bool
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&ask); err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	run, err := a.practices.guard.ClearPasscode(r.Context(), practice.ClearPasscodeRequest{Enrollment: ask.Device, Actor: ask.Actor,
		Reason: ask.Reason, PossessionVerified: ask.Possession})
	switch mdm.CodeOf(err) {
	case mdm.Forbidden:
		http.Error(w, err.Error(), http.StatusForbidden)
	case mdm.Malformed:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		if err != nil {
			a.log.Error("a passcode cannot be cleared", "enrollment", ask.Device.String(), "error", err)
			http.Error(w, "the server could not do it; its log says why", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"run": run.ID}) // GET /v1/runs/{id} tells what becomes of it
	}
}
