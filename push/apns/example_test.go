package apns_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

func ExampleClient() {
	cert, err := mdmtest.NewPushCertificate("com.apple.mgmt.External.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	fake := mdmtest.NewAPNs() // a program leaves Host and RootCAs empty and talks to Apple
	defer fake.Close()
	client := &apns.Client{Certificates: push.Fixed(cert), Host: fake.URL(), RootCAs: fake.RootCAs()}

	fake.Queue(mdmtest.PushAnswer{}, mdmtest.Unregistered(time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)))
	for range 2 {
		results, err := client.Push(context.Background(), []push.Target{
			{Topic: cert.Topic, Token: []byte{0xca, 0xfe}, Magic: "8A2E3C6F"},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		switch r := results[0]; r.Outcome {
		case push.Invalid:
			fmt.Println(r.Reason, "since", r.Since.Format(time.DateOnly))
		default:
			fmt.Println(r.Outcome)
		}
	}
	// Output:
	// delivered
	// Unregistered since 2026-01-31
}
