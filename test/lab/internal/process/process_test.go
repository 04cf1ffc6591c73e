package process

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParseStatSkipsCommandName(t *testing.T) {
	stat := []byte("12 (a ) (b) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3")
	start, state, err := parseStat(stat)
	if err != nil || start != 98765 || state != 'S' {
		t.Errorf("parseStat = %d, %c, %v; want 98765, S, nil", start, state, err)
	}
	for _, bad := range []string{"", "12 (sh", "12 (sh) S 1 2"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) found no error", bad)
		}
	}
}

func TestIDDistinguishesProcesses(t *testing.T) {
	self, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !self.Alive() {
		t.Error("this process is not alive")
	}
	earlier := self
	earlier.Start--
	if earlier.Alive() {
		t.Error("a process with this number that started earlier is alive")
	}
	otherBoot := self
	otherBoot.Boot = "x"
	if otherBoot.Alive() {
		t.Error("a process of another boot is alive")
	}
	if (ID{}).Alive() {
		t.Error("no process is alive")
	}
}

func TestKillAllEndsWhatIsFound(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := KillAll(func() []int { return []int{id.PID, os.Getpid()} }, 5*time.Second); err != nil {
		t.Error(err)
	}
	if id.Alive() { // a zombie counts as ended: it is not reaped yet
		t.Error("the process is alive after KillAll")
	}
	_ = cmd.Wait()
}
