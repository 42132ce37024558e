package main

import (
	"fmt"
)

// enroll is a device's way in: Authenticate, then TokenUpdate.
func (d *device) enroll(c *client) (int, error) {
	if _, err := c.put(d.authenticate); err != nil {
		return 0, fmt.Errorf("%s: Authenticate: %w", d.id, err)
	}
	if _, err := c.put(d.tokenUpdate); err != nil {
		return 0, fmt.Errorf("%s: TokenUpdate: %w", d.id, err)
	}
	return 1, nil
}

// poll is an Idle report of a device for which there is nothing.
func (d *device) poll(c *client) (int, error) {
	body, err := c.put(d.idle)
	if err == nil && len(body) > 0 {
		err = fmt.Errorf("an answer where none was due: %.100s", body)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: Idle: %w", d.id, err)
	}
	return 1, nil
}

// session takes commands until there are none: they must come in this order and be no others. It returns how many were
// delivered and acknowledged.
func (d *device) session(c *client, uuids []string) (done int, err error) {
	request := d.idle
	for _, want := range uuids {
		body, err := c.put(request)
		if err != nil {
			return done, fmt.Errorf("%s: command %d: %w", d.id, done, err)
		}
		got, err := uuidOf(body)
		if err != nil || got != want {
			return done, fmt.Errorf("%s: command %d is %q, not %q: %v", d.id, done, got, want, err)
		}
		c.request = append(append(append(c.request[:0], d.acknowledgedBefore...), got...), d.acknowledgedBehind...)
		request = c.request
		if done++; done == len(uuids) {
			break
		}
	}
	body, err := c.put(request)
	if err == nil && len(body) > 0 {
		err = fmt.Errorf("an answer where none was due: %.100s", body)
	}
	if err != nil {
		return done - 1, fmt.Errorf("%s: the last answer: %w", d.id, err)
	}
	return done, nil
}
