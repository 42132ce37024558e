package main

import (
	"context"
	"crypto/subtle"
	"net/http"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
	"github.com/gomdm/applemdm/profile"
)

// adePath is where devices in Setup Assistant come, by GET in a web view or by POST. It is the one URL of all: see serviceConfig.
const adePath = "/ade"

// Who may set a device up. It is no secret: only simulated devices come this way, as only their factory is trusted. A product
// has its identity provider here: see examples/ade.
const (
	adeUser     = "ada"
	adePassword = "lovelace"
	adeRealm    = "applemdm quick start"
)

// setupAssistant enrolls devices by Automated Device Enrollment: those that Apple says are ours, after their users signed in.
func (a *app) setupAssistant() *ade.Service {
	recipe := a.recipe(nil) // the service signs
	return &ade.Service{
		Sessions: a.stores.Sessions, Signer: a.signer, Devices: a.makers, Clock: a.now, Logger: a.log,
		Key: mdm.SecretString(randomToken()), // simulated devices end with the process; others would need the same one after a restart
		Admit: func(ctx context.Context, s enroll.Session) error {
			_, ours, err := a.fromApple(ctx, s.Tenant, s.Device["SERIAL"])
			if err == nil && !ours {
				err = mdm.Errorf(mdm.Forbidden, "quickstart", "Apple does not say that the device is ours")
			}
			return err
		},
		Login: func(w http.ResponseWriter, r *http.Request, state string) { a.signInPage(w, r, state, false) },
		Page:  a.problemPage,
		Authenticate: func(context.Context, enroll.Session) (*ade.Password, error) { // without a web view, as by Apple Configurator
			return &ade.Password{Realm: adeRealm, Prompt: "Sign in to set up this device.", Digest: func(_ context.Context, user string) (mdm.Secret, error) {
				if user != adeUser {
					return mdm.Secret{}, ade.ErrWrong
				}
				return ade.HA1(adeUser, adeRealm, mdm.SecretString(adePassword)), nil
			}}, nil
		},
		Final: func(ctx context.Context, s enroll.Session) (*profile.Profile, error) {
			return recipe.Profile(ctx, ade.For(s))
		},
	}
}

// signedIn looks at what a user typed. The session was looked at already; it is good for another try.
func (a *app) signedIn(w http.ResponseWriter, r *http.Request, _ enroll.Session) (string, bool) {
	user, password := r.PostFormValue("user"), r.PostFormValue("password")
	right := subtle.ConstantTimeCompare([]byte(user), []byte(adeUser)) & subtle.ConstantTimeCompare([]byte(password), []byte(adePassword))
	if right != 1 {
		a.signInPage(w, r, r.PostFormValue("state"), true)
		return "", false
	}
	return user, true
}

func (a *app) signInPage(w http.ResponseWriter, r *http.Request, state string, wrong bool) {
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusOK
	if wrong {
		status = http.StatusForbidden
	}
	a.page(w, r, status, "signin.html", map[string]any{"State": state, "Action": adePath + "/signin", "Wrong": wrong})
}

func (a *app) problemPage(w http.ResponseWriter, r *http.Request, status int) {
	a.page(w, r, status, "problem.html", map[string]any{"Later": status >= http.StatusInternalServerError})
}
