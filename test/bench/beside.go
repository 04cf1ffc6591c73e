package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// beside is the watcher's program, beside the cluster. It only notifies.
type beside struct {
	cmd     *exec.Cmd
	address string
	store   string
	lines   chan line // of its log
}

// line is one of its log.
type line struct {
	Message string `json:"msg"`
	Nodes   int    `json:"nodes"`
}

// judged is what the watcher logs once it has judged every node for the first time.
const judged = "all nodes are assessed"

func (l *lab) startBeside(ctx context.Context) (*beside, error) {
	store, err := os.MkdirTemp("", "bench-watcher")
	if err != nil {
		return nil, err
	}
	b := &beside{store: store, lines: make(chan line, 1000)}
	if b.address, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	b.cmd = exec.CommandContext(ctx, filepath.Join(l.bin, "rotate-certs-watcher"), "--kubeconfig", os.Getenv("KUBECONFIG"), "--notify-only",
		"--store", store, "--http-address", b.address, "--log-format", "json")
	b.cmd.Cancel = func() error { return b.cmd.Process.Signal(syscall.SIGTERM) }
	b.cmd.WaitDelay = 30 * time.Second
	log, err := b.cmd.StderrPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	go b.read(log)
	return b, nil
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (b *beside) read(log io.Reader) {
	defer close(b.lines)
	for scanner := bufio.NewScanner(log); scanner.Scan(); {
		var one line
		if json.Unmarshal(scanner.Bytes(), &one) != nil {
			one.Message = scanner.Text() // the error that it ended with
		}
		b.lines <- one
	}
}

// says waits for a line of the log.
func (b *beside) says(ctx context.Context, message string) (line, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	last := "nothing"
	for {
		select {
		case <-ctx.Done():
			return line{}, fmt.Errorf("wait until the watcher says %q: %w; it said %q last", message, ctx.Err(), last)
		case one, ok := <-b.lines:
			if !ok {
				return line{}, fmt.Errorf("the watcher ended before it said %q; its last words: %s", message, last)
			}
			if one.Message == message {
				return one, nil
			}
			last = one.Message
		}
	}
}

// stop ends it in an orderly way.
func (b *beside) stop() {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	go func() { // else it could not end
		for range b.lines {
		}
	}()
	_ = b.cmd.Wait()
	_ = os.RemoveAll(b.store)
}

// scrape reads /metrics, and returns one of them, how many bytes all took and how long.
func (b *beside) scrape(ctx context.Context, metric string) (value, size int, took time.Duration, err error) {
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.address+"/metrics", nil)
	if err != nil {
		return 0, 0, 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, 0, 0, err
	}
	defer response.Body.Close()
	value = -1
	reader := bufio.NewReaderSize(response.Body, 1<<20)
	for {
		text, err := reader.ReadString('\n')
		size += len(text)
		if rest, ok := strings.CutPrefix(text, metric+" "); ok {
			value, _ = strconv.Atoi(strings.TrimSpace(rest))
		}
		if errors.Is(err, io.EOF) {
			return value, size, time.Since(began), nil
		}
		if err != nil {
			return 0, 0, 0, fmt.Errorf("read metrics: %w", err)
		}
	}
}

var memoryLine = regexp.MustCompile(`(?m)^(VmHWM|VmRSS):\s+(\d+) kB$`)

// memory is what it has now, and the most that it ever had, in MiB.
func (b *beside) memory() (now, peak float64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for _, m := range memoryLine.FindAllStringSubmatch(string(status), -1) {
		kilobytes, _ := strconv.ParseFloat(m[2], 64)
		if m[1] == "VmHWM" {
			peak = kilobytes / 1024
		} else {
			now = kilobytes / 1024
		}
	}
	return now, peak
}

// cpu is the user and system time that it has taken.
func (b *beside) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// After the name, which is in parentheses, come the state and 10 numbers; then these.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// ticksPerSecond is Linux's USER_HZ, the same on every architecture that Go runs on.
const ticksPerSecond = 100

// share is the part of one core that it takes while something runs, in percent.
func (b *beside) share(ctx context.Context, while func(context.Context) error) (float64, error) {
	before, began := b.cpu(), time.Now()
	if err := while(ctx); err != nil {
		return 0, err
	}
	return 100 * (b.cpu() - before).Seconds() / time.Since(began).Seconds(), nil
}
