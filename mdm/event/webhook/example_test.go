package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/event/webhook"
)

func Example() {
	secret := mdm.SecretString("out-of-your-secret-store")

	// The receiver, in a program of its own.
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
		if err != nil {
			return
		}
		if err := webhook.Verify(r.Header.Get(webhook.SignatureHeader), body, []mdm.Secret{secret}, time.Now(), 0); err != nil {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		var d webhook.Delivery
		if err := json.Unmarshal(body, &d); err != nil {
			http.Error(w, "what is that?", http.StatusBadRequest)
			return
		}
		fmt.Println(d.Event.Type, d.Event.Enrollment)
	}))
	defer receiver.Close()

	// The sender: give it to server.Config.Consumers, or to an event.Dispatcher.
	hook, err := webhook.New(webhook.Config{URL: receiver.URL, Secrets: []mdm.Secret{secret}, Types: []mdm.EventType{"enrollment.*"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, kind := range []mdm.EventType{mdm.EventEnrolled, mdm.EventCommandSent} {
		if err := hook.Consume(context.Background(), mdm.Event{Seq: 1, Type: kind, At: time.Now(), Enrollment: mdm.EnrollmentID{Device: "phone"}}); err != nil {
			fmt.Println(err)
		}
	}
	// Output: enrollment.enrolled phone
}
