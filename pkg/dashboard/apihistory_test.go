package dashboard

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// TestAPIReadsJournalsOnRequestOnly, and answers with the documents that history prints.
func TestAPIReadsJournalsOnRequestOnly(t *testing.T) {
	cluster := &fakeCluster{}
	reads := 0
	cluster.rotations = func(context.Context) (v1alpha1.RotationList, error) {
		reads++
		return v1alpha1.RotationList{Items: []v1alpha1.PastRotation{samplePast()}}, nil
	}
	c := withToken(t, fixedOptions(oneCluster(cluster)))
	assert.Equal(t, apiHistory{}, readAs[apiHistory](t, c.send(http.MethodGet, prodPath+"/history", "", nil), http.StatusOK))
	assert.Equal(t, apiRecords{}, readAs[apiRecords](t, c.send(http.MethodGet, prodPath+"/history/7f3c2a", "", nil), http.StatusOK))
	assert.Zero(t, reads)

	readAs[apiHistory](t, c.send(http.MethodPost, prodPath+"/history", "", nil), http.StatusAccepted)
	all := awaitDocument(c, prodPath+"/history", func(now apiHistory) bool { return !now.Running && now.History != nil })
	assert.Equal(t, []v1alpha1.PastRotation{samplePast()}, all.History.Items)
	assert.Equal(t, testNow, *all.ReadAt)
	assert.Equal(t, 1, reads)
	readAs[apiRecords](t, c.send(http.MethodPost, prodPath+"/history/7f3c2a", "", nil), http.StatusAccepted)
	one := awaitDocument(c, prodPath+"/history/7f3c2a", func(now apiRecords) bool { return !now.Running && now.Rotation != nil })
	want, err := cluster.Records(t.Context(), "7f3c2a")
	require.NoError(t, err)
	assert.Equal(t, &want, one.Rotation)
}

// TestAPIMarks lists, creates and deletes marks as pages do.
func TestAPIMarks(t *testing.T) {
	marked := make(chan Mark, 1)
	deleted := make(chan string, 1)
	cluster := &fakeCluster{
		state: func(context.Context) (State, error) {
			state := sampleState(3)
			state.Marks[0].CreationTimestamp = metav1.NewTime(testNow)
			state.NotRead = []string{"nodes: forbidden"}
			return state, nil
		},
		mark: func(_ context.Context, m Mark) error { marked <- m; return nil }, deleteMark: func(_ context.Context, name string) error { deleted <- name; return nil },
	}
	c := withToken(t, fixedOptions(oneCluster(cluster)))
	want := apiMarks{NotRead: []string{"nodes: forbidden"}, Items: []apiMark{{Name: "admin-x7k2p", Created: testNow,
		apiMarkChoice: apiMarkChoice{Service: certs.Admin, Reason: "laptop stolen"}, State: "not replaced yet. waits for rotation expiring-kubelet-1"}}}
	assert.Equal(t, want, readAs[apiMarks](t, c.send(http.MethodGet, prodPath+"/marks", "", nil), http.StatusOK))
	for body, text := range map[string]string{
		`{"service":"etcd"}`: "no reason given", `{"service":"ectd","reason":"x"}`: "unknown service", `{"service":"etcd","reason":"x","nodes":[]}`: "no node is chosen",
		`{"service":"etcd","reason":"x","nodes":[""]}`: "no node is chosen", `{"service":"etcd","reason":"x","nodes":[" ",","]}`: "no node is chosen",
		`{"service":"etcd","reason":"x","fingerprint":" : "}`: "the fingerprint is blank",
		`{"service":"admin","nodes":["NODE"],"reason":"x"}`:   "not named as nodes are", `{"service":"etcd","reason":"x","node":"cp1"}`: "unknown field",
	} {
		e := readAs[problem](t, c.send(http.MethodPost, prodPath+"/marks", body, nil), http.StatusUnprocessableEntity)
		assert.Contains(t, e.Detail, text, body)
	}
	assert.Empty(t, marked)
	a := c.send(http.MethodPost, prodPath+"/marks", `{"service":"etcd","nodes":["cp1"],"reason":"leaked"}`, nil)
	assert.Equal(t, want, readAs[apiMarks](t, a, http.StatusCreated))
	assert.Equal(t, Mark{Service: certs.Etcd, Nodes: []string{"cp1"}, Reason: "leaked"}, <-marked)
	missing := readAs[problem](t, c.send(http.MethodPost, prodPath+"/marks/x/delete", "", nil), http.StatusNotFound)
	assert.Contains(t, missing.Hint, prodPath+"/marks")
	readAs[apiMarks](t, c.send(http.MethodPost, prodPath+"/marks/admin-x7k2p/delete", "", nil), http.StatusOK)
	assert.Equal(t, "admin-x7k2p", <-deleted)
}

// TestMarkThatWasMadeIsNoError, although the cluster does not answer after it: a client that marks again
// has the keys replaced twice.
func TestMarkThatWasMadeIsNoError(t *testing.T) {
	made := false
	cluster := &fakeCluster{
		state: func(context.Context) (State, error) {
			if made {
				return State{}, errors.New("connection refused")
			}
			return sampleState(3), nil
		},
		mark: func(context.Context, Mark) error { made = true; return nil },
	}
	c := withToken(t, fixedOptions(oneCluster(cluster)))
	got := readAs[apiMarks](t, c.send(http.MethodPost, prodPath+"/marks", `{"service":"etcd","reason":"leaked"}`, nil), http.StatusCreated)
	assert.Contains(t, strings.Join(got.NotRead, "; "), "connection refused")
}

// TestAPIOfJournalsAndMarksNeedsThePermissionsOfPages, and nothing is read or changed without them.
func TestAPIOfJournalsAndMarksNeedsThePermissionsOfPages(t *testing.T) {
	posts := map[string]string{"/history": "", "/history/7f3c2a": "", "/marks": `{"service":"etcd","reason":"x"}`, "/marks/admin-x7k2p/delete": ""}
	for name, readOnly := range map[string]bool{"denied": false, "read only": true} {
		t.Run(name, func(t *testing.T) {
			cluster := &fakeCluster{
				state: func(context.Context) (State, error) {
					state := sampleState(3)
					state.Denied = map[Right]string{RightScan: "you may not", RightMark: "you may not", RightDeleteMark: "you may not"}
					if readOnly {
						state.Denied = nil
					}
					return state, nil
				},
				rotations: func(context.Context) (v1alpha1.RotationList, error) {
					t.Error("read")
					return v1alpha1.RotationList{}, nil
				},
				records: func(context.Context, string) (v1alpha1.RotationHistory, error) {
					t.Error("read")
					return v1alpha1.RotationHistory{}, nil
				},
				mark:       func(context.Context, Mark) error { t.Error("marked"); return nil },
				deleteMark: func(context.Context, string) error { t.Error("deleted"); return nil },
			}
			options := fixedOptions(oneCluster(cluster))
			options.ReadOnly = readOnly
			c := withToken(t, options)
			for path, body := range posts {
				e := readAs[problem](t, c.send(http.MethodPost, prodPath+path, body, nil), http.StatusForbidden)
				assert.NotEmpty(t, e.Detail, path)
			}
			assert.Len(t, readAs[apiMarks](t, c.send(http.MethodGet, prodPath+"/marks", "", nil), http.StatusOK).Items, 1)
		})
	}
}
