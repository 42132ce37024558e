package dep

import (
	"context"
	"log/slog"
	"time"
)

// oddClock is how far a time is from ours before one of the clocks is wrong.
const oddClock = 24 * time.Hour

// told folds a page to what is now, of each device. What Apple says in words that we do not know is looked up, and so is what it says
// twice without saying which came last, and what has no date, as changes come in no order, or one that is not yet.
func (t *turn) told(ctx context.Context, page DevicePage) ([]Told, error) {
	if page.Unreadable > 0 {
		t.progress.Odd += page.Unreadable
		t.log(ctx, slog.LevelWarn, "devices without a serial number that can be kept", t.progress.Server, slog.Int("devices", page.Unreadable))
	}
	out, open := t.last(ctx, page)
	if len(open) == 0 {
		return out, nil
	}
	serials := make([]string, 0, len(open))
	for _, v := range out {
		if open[v.Device.SerialNumber] {
			serials = append(serials, v.Device.SerialNumber)
		}
	}
	details, err := t.details(ctx, serials)
	if err != nil {
		return nil, err
	}
	known := out[:0]
	for _, v := range out {
		if open[v.Device.SerialNumber] {
			now, ok := details[v.Device.SerialNumber]
			if !ok {
				continue
			}
			if !t.early(v.Device) {
				now.Device.OpDate = v.Device.OpDate
			}
			v = now
		}
		known = append(known, v)
	}
	return known, nil
}

// last returns the last of what a page says of each device, and the serial numbers of those that have to be looked up. A fetch of all says
// what is now, whatever its dates are.
func (t *turn) last(ctx context.Context, page DevicePage) (out []Told, open map[string]bool) {
	fetch := t.server.Sync.Phase == PhaseFetch
	open = map[string]bool{}
	place := make(map[string]int, len(page.Devices))
	for _, d := range page.Devices {
		if !IsSerial(d.SerialNumber) {
			t.progress.Odd++
			t.log(ctx, slog.LevelWarn, "a device without a serial number that can be kept", t.progress.Server)
			continue
		}
		next := Told{Device: d, Gone: d.OpType == OpDeleted}
		i, twice := place[d.SerialNumber]
		if !twice {
			place[d.SerialNumber] = len(out)
			out = append(out, next)
			continue
		}
		if unclear(out[i], next) {
			open[d.SerialNumber] = true
		}
		if !d.OpDate.Before(out[i].Device.OpDate) {
			out[i] = next
		}
	}
	for i := range out {
		v := &out[i]
		switch {
		case fetch:
			v.Device.OpDate = time.Time{}
		case !v.Gone && v.Device.OpType != OpAdded && v.Device.OpType != OpModified, v.Device.OpDate.IsZero(), t.early(v.Device):
			open[v.Device.SerialNumber] = true
		}
	}
	return out, open
}

// unclear reports whether a device is said to be there and to be gone, but not what was last.
func unclear(a, b Told) bool {
	x, y := a.Device.OpDate, b.Device.OpDate
	return a.Gone != b.Gone && (x.Equal(y) || x.IsZero() || y.IsZero())
}

// early reports whether something happened to a device at a time that is not yet, by any clock: what comes after it would seem older.
func (t *turn) early(d Device) bool { return d.OpDate.After(t.now().Add(oddClock)) }

// details looks devices up. Of one that Apple says nothing about, or nothing that we understand, there is no entry: it stays as it was, and
// does not hold up the others.
func (t *turn) details(ctx context.Context, serials []string) (map[string]Told, error) {
	var found map[string]Device
	err := t.call(ctx, func(ctx context.Context) (err error) {
		found, err = t.source.DeviceDetails(ctx, serials)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string]Told, len(serials))
	odd, word := 0, ""
	for _, serial := range serials {
		d, ok := found[serial]
		d.SerialNumber, d.OpDate = serial, time.Time{} // it is as of now
		switch {
		case !ok:
			odd++
		case d.ResponseStatus == "", d.ResponseStatus == StatusSuccess:
			out[serial] = Told{Device: d}
		case d.ResponseStatus == StatusNotFound, d.ResponseStatus == StatusNotAccessible:
			out[serial] = Told{Device: d, Gone: true}
		default:
			odd++
			word = printable(d.ResponseStatus)
		}
	}
	if odd > 0 {
		t.progress.Odd += odd
		t.log(ctx, slog.LevelWarn, "devices of which Apple says nothing when it is asked", t.progress.Server, slog.Int("devices", odd), slog.String("answer", word))
	}
	return out, nil
}
