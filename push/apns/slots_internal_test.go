package apns

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSlotsAreGrantedInOrder(t *testing.T) {
	t.Parallel()
	s := &slots{free: 5}
	n, none := s.take(3)
	assert.Equal(t, 3, n)
	assert.Nil(t, none)
	n, _ = s.take(3)
	assert.Equal(t, 2, n, "what there is")
	_, first := s.take(4)
	_, second := s.take(4)
	_, third := s.take(1)
	s.put(2)
	n, late := s.take(1)
	assert.Zero(t, n, "others wait already")
	s.drop(late)
	<-first.ready
	assert.Equal(t, 2, first.n, "what there is, at once")
	s.put(1)
	s.drop(second)
	<-third.ready
	assert.Equal(t, 1, third.n)
	_, granted := s.take(9)
	s.put(2)
	s.share()
	s.drop(granted) // with what it was granted
	n, _ = s.take(9)
	assert.Equal(t, 2, n)
	assert.Empty(t, s.claims)
}
