package push_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// A Dispatcher runs beside the server; whoever commits a command calls Notify.
func ExampleDispatcher() {
	var store push.Store = newOutbox()
	d := &push.Dispatcher{Store: store, Pusher: pusherFunc(
		func(_ context.Context, targets []push.Target) ([]push.Result, error) {
			results := make([]push.Result, len(targets))
			for i, t := range targets {
				fmt.Println("push to", t.Enrollment)
				results[i] = push.Result{Target: t, Outcome: push.Delivered}
			}
			return results, nil
		})}
	n, err := store.Wake(context.Background(), mdm.IDs(mdm.EnrollmentID{Device: "00008103-000A"}), time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("intents:", n)
	if err := d.Flush(context.Background()); err != nil { // a server calls go d.Run(ctx) and d.Notify()
		fmt.Println(err)
	}
	// Output:
	// intents: 1
	// push to 00008103-000A
}

// A push certificate that was exchanged for the CSR at identity.apple.com.
func ExampleLoadCertificate() {
	certPEM, err := os.ReadFile("testdata/MDM_Vendor_Certificate.pem")
	if err != nil {
		fmt.Println("no certificate yet")
		return
	}
	keyPEM, err := os.ReadFile("testdata/push.key")
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := push.LoadCertificate(certPEM, keyPEM)
	switch {
	case errors.Is(err, push.ErrKeyMismatch):
		fmt.Println("this is the key of another CSR")
	case err != nil:
		fmt.Println(err)
	}
	fmt.Println(cert.Topic, time.Until(cert.NotAfter) < 30*24*time.Hour)
	_ = push.Fixed(cert) // for an apns.Client
}

// A WaveRunner runs beside the Dispatcher of each replica; a server does that when it has Stores.Waves.
func ExampleWaveRunner() {
	clock := newClock()
	store := newWave(clock.now(), 100, 150) // a wave that somebody began
	runner := &push.WaveRunner{Store: store, Clock: clock.now}
	for store.wave.Open() {
		clock.advance(time.Second)
		if err := runner.Flush(context.Background()); err != nil { // a server calls go runner.Run(ctx)
			fmt.Println(err)
			return
		}
		fmt.Println(store.wave.Woken, "of", store.wave.Total)
	}
	// Output:
	// 100 of 150
	// 150 of 150
}
