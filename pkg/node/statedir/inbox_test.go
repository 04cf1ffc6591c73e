package statedir

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestOrdersAreTakenOnceAndInOrder(t *testing.T) {
	_, d := openDir(t)
	r := openRotation(t, d, "a")
	orders := []nodeapi.Order{
		{Kind: nodeapi.OrderStage, Rotation: "a", Token: 1, Step: &plan.Step{Node: "cp1"}},
		{Kind: nodeapi.OrderCommit, Rotation: "a", Token: 1},
		{Kind: nodeapi.OrderCommit, Rotation: "a", Token: 2},
	}
	for _, o := range slices.Concat(orders[:2], orders) {
		if _, err := r.PutOrder(o); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.OrdersAfter(1)
	if err != nil || len(got) != 2 || got[0].Number != 2 || got[1].Token != 2 {
		t.Errorf("orders after the first: %+v, %v", got, err)
	}
}

func TestOrderIsKnownByItsID(t *testing.T) {
	_, d := openDir(t)
	r := openRotation(t, d, "a")
	stage := nodeapi.Order{Kind: nodeapi.OrderStage, ID: "1", Rotation: "a", Token: 1, Step: &plan.Step{Node: "cp1"}}
	again := stage
	other := stage
	without := stage
	other.ID = "2"
	without.ID = ""
	var got []int64
	for _, o := range []nodeapi.Order{stage, again, other, again, other, without, without} {
		number, err := r.PutOrder(o)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, number)
	}
	if want := []int64{1, 1, 2, 1, 2, 3, 3}; !slices.Equal(got, want) {
		t.Errorf("numbers %v, want %v", got, want)
	}
}

func TestOrdersDeliveredAtTheSameTimeGetNumbersOfTheirOwn(t *testing.T) {
	_, d := openDir(t)
	r := openRotation(t, d, "a")
	done := make(chan error)
	for token := range int64(20) {
		go func() {
			_, err := r.PutOrder(nodeapi.Order{Kind: nodeapi.OrderCommit, Rotation: "a", Token: token})
			done <- err
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	orders, err := r.OrdersAfter(0)
	if err != nil || len(orders) != 20 {
		t.Fatalf("%d orders, %v", len(orders), err)
	}
	for n, o := range orders {
		if o.Number != int64(n+1) {
			t.Errorf("order %d has number %d", n+1, o.Number)
		}
	}
}

func TestNonsenseIsNotAnOrder(t *testing.T) {
	_, d := openDir(t)
	for _, o := range []nodeapi.Order{
		{}, {Kind: "Destroy", Rotation: "a"}, {Kind: nodeapi.OrderStage, Rotation: "a"}, {Kind: nodeapi.OrderIssued, Rotation: "a"},
		{Kind: nodeapi.OrderCommit, Rotation: "b"},
	} {
		if _, err := openRotation(t, d, "a").PutOrder(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestFollow(t *testing.T) {
	shortenGrace(t)
	root, d := openDir(t)
	r := openRotation(t, d, "a")
	writeRecords(t, r, 1, day, nodeapi.Staging, nodeapi.Staged)
	release, err := d.TakeLock(t.Context(), Holder{Rotation: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var got []nodeapi.Kind
	err = FollowJournal(t.Context(), root, "a", 1, func(rec nodeapi.Record) error {
		got = append(got, rec.Kind)
		switch rec.Kind {
		case nodeapi.Staged: // written while it is followed
			writeRecords(t, r, 1, day, nodeapi.Committing, nodeapi.Committed)
		case nodeapi.Committed:
			writeRecords(t, r, 1, day, nodeapi.Finished)
			release()
		default:
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []nodeapi.Kind{nodeapi.Staged, nodeapi.Committing, nodeapi.Committed, nodeapi.Finished}; !slices.Equal(got, want) {
		t.Errorf("followed %v, want %v", got, want)
	}
}

func TestFollowEndsAndSaysWhenThereIsNothing(t *testing.T) {
	shortenGrace(t)
	root, _ := openDir(t)
	err := FollowJournal(t.Context(), root, "a", 0, func(nodeapi.Record) error { return nil })
	if err == nil || !strings.Contains(err.Error(), `rotation "a" is not known`) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := FollowJournal(ctx, root, "a", 0, func(nodeapi.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestWaitOrdersWakesUp(t *testing.T) {
	_, d := openDir(t)
	r := openRotation(t, d, "a")
	go func() { _, _ = r.PutOrder(nodeapi.Order{Kind: nodeapi.OrderCommit, Rotation: "a"}) }()
	orders, err := r.WaitOrders(t.Context(), 0)
	if err != nil || len(orders) != 1 {
		t.Errorf("%v, %v", orders, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.WaitOrders(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// shortenGrace shortens the time for which FollowJournal waits for a process that does not run.
func shortenGrace(t *testing.T) {
	t.Helper()
	usual := graceOfStart
	t.Cleanup(func() { graceOfStart = usual })
	graceOfStart = time.Millisecond
}

func TestOrdersWithoutAnAnswerAreDropped(t *testing.T) {
	_, d := openDir(t)
	r := openRotation(t, d, "7f3c2a")
	for _, o := range []nodeapi.Order{
		{Kind: nodeapi.OrderStage, Step: &plan.Step{}}, {Kind: nodeapi.OrderCommit},
		{Kind: nodeapi.OrderStage, Step: &plan.Step{}}, {Kind: nodeapi.OrderCommit}, {Kind: nodeapi.OrderAbandon},
	} {
		o.Rotation = "7f3c2a"
		o.ID = rand.Text()
		_, err := r.PutOrder(o)
		require.NoError(t, err)
	}
	w, err := r.OpenWriter("cp1", nil)
	require.NoError(t, err)
	_, err = w.AppendRecord(nodeapi.Record{Kind: nodeapi.Staged, Order: 1})
	require.NoError(t, err)
	require.NoError(t, w.Close())

	require.NoError(t, r.DropUnanswered())
	left, err := r.OrdersAfter(0)
	require.NoError(t, err)
	var kinds []nodeapi.OrderKind
	for _, o := range left {
		kinds = append(kinds, o.Kind)
	}
	assert.Equal(t, []nodeapi.OrderKind{nodeapi.OrderStage, nodeapi.OrderCommit, nodeapi.OrderKeepAlive, nodeapi.OrderCommit, nodeapi.OrderKeepAlive}, kinds,
		"what was answered stays, and orders to commit, which are to be refused")
	number, err := r.PutOrder(nodeapi.Order{Kind: nodeapi.OrderAbandon, Rotation: "7f3c2a", ID: rand.Text()})
	require.NoError(t, err)
	assert.Equal(t, int64(6), number, "no number is used twice")
}
