package dep_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gomdm/applemdm/mdm/dep"
)

// An administrator uploads the certificate at Apple, downloads the token, and hands it in.
func ExampleReadToken() {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	pair, err := dep.NewKeyPair("MDM of Example", now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(pair.Certificate[:27])) // to upload

	_, err = dep.ReadToken([]byte("<html>Sign in</html>"), pair)
	fmt.Println(errors.Is(err, dep.ErrNotToken))

	old, renewed := dep.Token{ConsumerKey: "CK_1"}, dep.Token{ConsumerKey: "CK_2", Expires: now.AddDate(1, 0, 0)}
	fmt.Println(renewed.Replaces(old))
	fmt.Println(renewed.Check(now))
	// Output:
	// -----BEGIN CERTIFICATE-----
	// true
	// dep.Token: malformed: the token is of another server at Apple
	// <nil>
}

// Apple has new terms, and nothing works until somebody has accepted them.
func ExampleClient() {
	apple := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/session":
			_, _ = io.WriteString(w, `{"auth_session_token":"1"}`)
		case "/account":
			_, _ = io.WriteString(w, `{"server_name":"MDM of Example","org_name":"Example"}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `"T_C_NOT_SIGNED"`)
		}
	}))
	defer apple.Close()

	client := &dep.Client{Token: dep.StaticToken(dep.Token{ConsumerKey: "CK_1"}), BaseURL: apple.URL, HTTP: apple.Client()}
	account, err := client.Account(context.Background())
	fmt.Println(account.OrgName, err)

	_, err = client.FetchDevices(context.Background(), "", 1000)
	fmt.Println(errors.Is(err, dep.ErrTermsNotSigned))
	if p, ok := dep.AsProblem(err); ok {
		fmt.Println(p.Code, len(p.Text) > 0)
	}
	// Output:
	// Example <nil>
	// true
	// T_C_NOT_SIGNED true
}

// A device is locked with the hash of a code, and unlocked with the code, which has to be kept until then.
func ExampleParseBypassCode() {
	code, err := dep.ParseBypassCode("000H4-0R40M-30F2-0918-5HR3-8F17")
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := code.EscrowKey()
	fmt.Println(code, key[:8], err)
	fmt.Println(string(code.Text().Reveal()))
	// Output:
	// [secret] C5CED1D0 <nil>
	// 000H4-0R40M-30F2-0918-5HR3-8F17
}
