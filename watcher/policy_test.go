package watcher

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

const days = 24 * time.Hour

func write(t *testing.T, path, defaults string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte("apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\n"+defaults), 0o600))
}

// threshold is what a policy in force asks for.
func threshold(p *renewal.Policy) time.Duration { return p.Default.Threshold.Duration }

// TestAPolicyIsReadAgain without a restart; one that became wrong changes nothing, and is
// told of for as long as it is.
func TestAPolicyIsReadAgain(t *testing.T) {
	// As a ConfigMap is mounted: the file is a symlink through one that is turned.
	dir := t.TempDir()
	for _, version := range []string{"v1", "v2", "v3"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, version), 0o700))
	}
	write(t, dir+"/v1/policy.yaml", "defaults: {threshold: {duration: 11d}}\n")
	write(t, dir+"/v2/policy.yaml", "defaults: {nearness: {duration: 12d}}\n")
	write(t, dir+"/v3/policy.yaml", "defaults: {threshold: {duration: 13d}}\n")
	turn := func(to string) {
		require.NoError(t, os.Symlink(to, dir+"/..new"))
		require.NoError(t, os.Rename(dir+"/..new", dir+"/..data"))
	}
	turn("v1")
	require.NoError(t, os.Symlink("..data/policy.yaml", dir+"/policy.yaml"))

	p, err := newPolicyFile(dir+"/policy.yaml", false, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	p.lives(90 * days)
	used := make(chan *renewal.Policy, 10)
	p.changed = func(policy *renewal.Policy) { used <- policy }
	assert.Equal(t, 11*days, threshold(p.current()))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Start(ctx) }()

	require.Eventually(t, func() bool { // the directory may not be watched yet
		turn("v2")
		return p.problem() != nil
	}, 10*time.Second, 50*time.Millisecond)
	assert.ErrorContains(t, p.problem(), "nearness")
	assert.ErrorContains(t, p.problem(), "kubectl rotate-certs policy check")
	assert.Equal(t, 11*days, threshold(p.current()), "the last good one holds")

	turn("v3")
	select {
	case policy := <-used:
		assert.Equal(t, 13*days, threshold(policy))
		assert.Equal(t, 90*days, policy.Lifetime, "what the cluster says is kept")
	case <-time.After(10 * time.Second):
		t.Fatal("the new policy was not read")
	}
	require.Eventually(t, func() bool { return p.problem() == nil }, 10*time.Second, 10*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
}

// TestAWrongPolicyAtTheStart: the watcher is there, and rotates nothing until it is right.
func TestAWrongPolicyAtTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	_, err := newPolicyFile(path, false, slog.New(slog.DiscardHandler))
	assert.ErrorContains(t, err, "no such file", "a mistyped name is said at once")

	write(t, path, "limits: {rotationsPerDay: many}\n")
	p, err := newPolicyFile(path, false, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	assert.Equal(t, renewal.NotifyOnly, p.current().Default.Mode)
	assert.ErrorContains(t, p.problem(), "line 3")
	p.again()
	assert.ErrorContains(t, p.problem(), "line 3", "it is as wrong as before")

	write(t, path, "limits: {rotationsPerDay: 2}\n")
	p.again()
	require.NoError(t, p.problem())
	assert.Equal(t, renewal.Automatic, p.current().Default.Mode)
}

func TestNotifyOnlyHoldsWhateverThePolicySays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, "defaults: {mode: automatic}\nrules: [{name: etcd, match: {services: [etcd]}, mode: automatic}]\n")
	p, err := newPolicyFile(path, true, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	assert.Equal(t, renewal.NotifyOnly, p.current().Default.Mode)
	assert.Equal(t, renewal.NotifyOnly, p.current().Rules[0].Mode)

	p, err = newPolicyFile("", false, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	assert.Equal(t, renewal.Automatic, p.current().Default.Mode, "without a file the default holds")
}

// TestAPolicyThatWasAwayForAMoment holds again when it is back as it was.
func TestAPolicyThatWasAwayForAMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, "defaults: {threshold: {duration: 11d}}\n")
	p, err := newPolicyFile(path, false, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, os.Rename(path, path+"~"))
	p.again()
	require.ErrorContains(t, p.problem(), "no such file")
	require.NoError(t, os.Rename(path+"~", path))
	p.again()
	require.NoError(t, p.problem())
	assert.Equal(t, 11*days, threshold(p.current()))
}
