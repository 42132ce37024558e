package storagetest

import (
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

func pushCases() []testCase {
	return []testCase{
		{name: "queuing leaves a push",
			why: "command.Enqueuer: a push for each target in the transaction of the command: never before it, never lost",
			run: enqueuePushes},
		{name: "pushes of a channel are coalesced",
			why: "package push: intents of one enrollment are coalesced; a push says only that the device should connect",
			run: pushesCoalesce},
		{name: "who did not get the command is not woken",
			why: "command.Enqueuer: a push for each target; refused, collapsed and repeated ones got nothing new",
			run: noPushForRefused},
		{name: "NoPush",
			why: "command.Order: NoPush does not wake the device",
			run: noPush},
		{name: "what the device has to be told",
			why: "push.Target: token, magic and topic are those of the channel: they differ between channels",
			run: pushTarget},
		{name: "a leased push is not given again",
			why: "push.Store: not handed out again before the lease ends; after it, it is: the process may have died",
			run: pushLease},
		{name: "the oldest first, and no more than asked for",
			why: "push.Store: up to max; with more due than can be sent, none must wait for ever",
			run: pushOrder},
		{name: "two takers share the work",
			why: "push.Store: intents are leased; two replicas must not push the same",
			run: pushTakers},
		{name: "who is not enrolled is not pushed",
			why: "push.Store: channels that are not enrolled are left out",
			run: pushNotEnrolled},
		{name: "waking by hand",
			why: "push.Store: Wake leaves an intent for every target that is enrolled, due at due, and returns how many",
			run: wakeByHand},
		{name: "a command for later wakes later",
			why: "command.Order: NotBefore is not offered earlier; a push at once would find nothing to do",
			run: pushNotBefore},
		{name: "a watcher is told", needs: needsWatch,
			why: "storage.Watcher: fn is called after each commit that left something, until stop",
			run: watcherIsTold},
	}
}

func enqueuePushes(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	w.drain()
	w.queued(security(), a, b)
	assert.ElementsMatch(w, []mdm.EnrollmentID{a.id, b.id}, w.woken(w.now()))
}

func pushesCoalesce(w *world) {
	d := w.enrolled("D")
	w.drain()
	for range 5 {
		w.queued(security(), d)
	}
	targets := w.due(w.now())
	require.Len(w, targets, 1)
	w.settle(targets, push.Result{Outcome: push.Delivered})
	assert.Empty(w, w.due(w.now().Add(2*lease)))
}

func noPushForRefused(w *world) {
	d, ended := w.enrolled("D"), w.enrolled("E")
	ended.checkOut()
	o := to(security(), d)
	o.UUID, o.Collapse = "order-1", "key"
	w.enqueue(o)
	w.drain()
	w.enqueue(o)                                      // the same again
	o.UUID, o.To = "order-2", mdm.IDs(d.id, ended.id) // collapsed, refused
	receipt := w.enqueue(o)
	assert.Zero(w, receipt.Queued)
	assert.Empty(w, w.due(w.now()))
}

func noPush(w *world) {
	d := w.enrolled("D")
	w.drain()
	o := to(security(), d)
	o.NoPush = true
	w.enqueue(o)
	assert.Empty(w, w.due(w.now().Add(time.Hour)))
}

func pushTarget(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	w.drain()
	w.queued(security(), d, u)
	targets := w.due(w.now())
	require.Len(w, targets, 2)
	for _, target := range targets {
		of := d
		if target.Enrollment.IsUser() {
			of = u
		}
		assert.Equal(w, of.id, target.Enrollment)
		assert.Equal(w, topic, target.Topic)
		assert.Equal(w, of.token, target.Token)
		assert.Equal(w, of.magic, target.Magic)
		assert.True(w, w.row(of.id).TokenUpdatedAt.Equal(target.TokenUpdatedAt))
	}
}

func pushLease(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	at := w.now()
	require.Len(w, w.due(at), 1)
	assert.Empty(w, w.due(at))
	assert.Empty(w, w.due(at.Add(lease-time.Second)))
	targets := w.due(at.Add(lease + time.Second))
	require.Len(w, targets, 1, "the lease ended")
	w.settle(targets, push.Result{Outcome: push.Delivered})
	assert.Empty(w, w.due(at.Add(10*lease)))
}

func pushOrder(w *world) {
	const n = 9
	all := make([]*device, n)
	for i := range all {
		all[i] = w.enrolled(numbered("device-", (i*5)%n))
	}
	w.drain()
	at := w.now()
	for i, d := range all {
		_, err := w.Push.Wake(w.Context(), mdm.IDs(d.id), at.Add(time.Duration(i)*time.Second))
		require.NoError(w, err)
	}
	at = at.Add(time.Minute)
	for from := 0; from < n; from += 3 {
		targets, err := w.Push.DuePushes(w.Context(), at, 3, lease)
		require.NoError(w, err)
		require.Len(w, targets, 3)
		for i, target := range targets {
			assert.Contains(w, ids(all[from:from+3]), target.Enrollment, "target %d", from+i)
		}
	}
	assert.Empty(w, w.due(at))
}

func pushTakers(w *world) {
	const n, takers = 60, 6
	all := w.enrollMany(n)
	_, err := w.Push.Wake(w.Context(), mdm.IDs(all...), w.now())
	require.NoError(w, err)
	at := w.now()
	var mu sync.Mutex
	taken := map[mdm.EnrollmentID]int{}
	var group sync.WaitGroup
	for range takers {
		group.Go(func() {
			for range n {
				targets, err := w.Push.DuePushes(w.Context(), at, 7, lease)
				if !assert.NoError(w, err) || len(targets) == 0 {
					return
				}
				mu.Lock()
				for _, target := range targets {
					taken[target.Enrollment]++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	assert.Len(w, taken, n)
	for id, times := range taken {
		assert.Equal(w, 1, times, id.String())
	}
}

func pushNotEnrolled(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	row := *w.row(d.id)
	pending, ended := row, row
	pending.State, ended.State = mdm.Pending, mdm.Ended
	for _, other := range []mdm.Enrollment{pending, ended} {
		w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{other}})
		assert.Empty(w, w.due(w.now()), "%s", other.State)
	}
	w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{row}})
	assert.Len(w, w.due(w.now()), 1, "its time has come")
}

func wakeByHand(w *world) {
	a, b, ended := w.enrolled("A"), w.enrolled("B"), w.enrolled("E")
	ended.checkOut()
	w.drain()
	at := w.now()
	n, err := w.Push.Wake(w.Context(), mdm.IDs(a.id, ended.id, mdm.EnrollmentID{Device: "unknown"}), at.Add(time.Hour))
	require.NoError(w, err)
	assert.Equal(w, 1, n)
	assert.Empty(w, w.due(at.Add(time.Hour-time.Second)))
	n, err = w.Push.Wake(w.Context(), mdm.Matching(mdm.Filter{}), at)
	require.NoError(w, err)
	assert.Equal(w, 2, n)
	assert.ElementsMatch(w, []mdm.EnrollmentID{a.id, b.id}, w.woken(at.Add(time.Second)), "the earlier time counts")
	n, err = w.Push.Wake(w.Context(), mdm.Targets{}, at)
	require.NoError(w, err)
	assert.Zero(w, n, "the zero Targets is nobody")
}

func pushNotBefore(w *world) {
	d := w.enrolled("D")
	w.drain()
	o := to(security(), d)
	o.NotBefore = w.now().Add(time.Hour)
	w.enqueue(o)
	assert.Empty(w, w.due(o.NotBefore.Add(-time.Second)))
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(o.NotBefore.Add(time.Second)))
}

func watcherIsTold(w *world) {
	d := w.enrolled("D")
	told := make(chan bool, 100)
	stop := w.Watch.Watch(func(c storage.Change) { told <- c.Pushes })
	pushes := func() (n int) {
		for {
			select {
			case push := <-told:
				if push {
					n++
				}
			default:
				return n
			}
		}
	}
	w.situation(d.id, mdm.Fingerprint{})
	d.expect(d.idle(), "")
	assert.Zero(w, pushes(), "nothing was left")
	uuid := w.queued(security(), d)
	assert.Equal(w, 1, pushes(), "told when the call returns")
	assert.Equal(w, command.Queued, w.state(d, uuid))
	_, err := w.Command.Enqueue(w.Context(), command.Order{To: mdm.IDs(d.id)})
	require.Error(w, err)
	assert.Zero(w, pushes())
	stop()
	w.queued(security(), d)
	assert.Zero(w, pushes(), "not after stop")
}
