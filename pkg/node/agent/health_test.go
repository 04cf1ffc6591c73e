package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func TestAgentIsReadyWhenItsReportWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "health")
	require.EqualError(t, CheckReady(path, time.Now()), "read health file: open "+path+": no such file or directory")
	synctest.Test(t, func(t *testing.T) {
		health, err := OpenHealth(path, DefaultInterval)
		require.NoError(t, err)
		assert.EqualError(t, CheckReady(path, time.Now()), "no report has been written yet")
		assert.NoError(t, CheckAlive(path, time.Now()))

		scans := 0
		r := reported{fails: 2}
		a := &agent{mail: newMailbox(), Options: Options{Root: "/nonexistent", Reports: &r, Health: health, ScanNode: func(context.Context) inventory.Node {
			scans++ // each is worth a report
			return inventory.Node{Name: "n", Time: time.Now(), ProgramVersion: strconv.Itoa(scans)}
		}}}
		a.fillDefaults()
		go a.mail.deliver(t.Context(), &r, a.Health, a.Log)
		go a.runLoop(t.Context())
		synctest.Wait()
		assert.EqualError(t, CheckReady(path, time.Now()), "report not written: connection refused")
		assert.NoError(t, CheckAlive(path, time.Now()), "it need not start anew for that")
		time.Sleep(DefaultInterval / 2)
		assert.NoError(t, CheckReady(path, time.Now()))

		r.failFromNowOn()
		time.Sleep(2 * DefaultInterval)
		assert.ErrorContains(t, CheckReady(path, time.Now()), "report not written: ")
	})
}

func TestAgentThatDoesNotScanIsNotAlive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "health")
	health, err := OpenHealth(path, time.Minute)
	require.NoError(t, err)
	require.NoError(t, health.noteReport(nil))
	at := time.Now()
	require.NoError(t, health.noteScan(at, time.Minute))
	assert.NoError(t, CheckReady(path, at.Add(2*time.Minute)))
	for _, judge := range []func(string, time.Time) error{CheckAlive, CheckReady} {
		assert.ErrorContains(t, judge(path, at.Add(4*time.Minute)), "the last scan should have ended by ")
	}
}

func TestHealthFileHoldsAnyProblem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "health")
	health, err := OpenHealth(path, time.Minute)
	require.NoError(t, err)
	for _, problem := range []string{strings.Repeat("x", 5000), strings.Repeat("\x00", 500), "short"} {
		require.NoError(t, health.noteReport(errors.New(problem)))
		assert.ErrorContains(t, CheckReady(path, time.Now()), "report not written")
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.EqualValues(t, healthSize, info.Size(), "nothing of an earlier text stays behind a shorter one")
	}
}
