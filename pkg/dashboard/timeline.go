package dashboard

import (
	"fmt"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// Sizes of the timeline, in units of its picture.
const (
	timelineLeft  = 230
	timelineRight = 940
	laneHeight    = 22
	axisHeight    = 46
	maxLanes      = 36 // more than these: a lane is a service on all nodes
	bucketWidth   = 12 // ends that are closer are one mark with a number
)

// timeline is a picture of when certificates end: a part for certificates, and one with another
// scale for CAs.
type timeline struct {
	Width  int
	Height int
	Parts  []timelinePart
	Text   []string // the same in words
}

type timelinePart struct {
	Title     string
	Top       int
	Bottom    int
	TitleY    int
	LabelY    int // of dates
	Left      int
	Right     int
	TodayX    int
	ExpiringX int // where the time begins in which certificates are not "expiring" anymore
	Ticks     []timelineTick
	Lanes     []timelineLane
}

// The places that follow from the others.

func (p timelinePart) LabelX() int      { return p.Left - 12 }
func (p timelinePart) SoonWidth() int   { return p.ExpiringX - p.TodayX }
func (p timelinePart) PastWidth() int   { return p.TodayX - p.Left }
func (p timelinePart) InnerHeight() int { return p.Bottom - p.Top }

type timelineTick struct {
	X     int
	Label string
}

type timelineLane struct {
	Label string
	Y     int
	TextY int
	Marks []timelineMark
}

// timelineMark are the certificates of a lane that end at about the same time.
type timelineMark struct {
	X         int
	Y         int
	TextX     int
	Count     int
	Condition condition
	Title     string
}

// timelineEnd is one end to draw.
type timelineEnd struct {
	lane      string
	at        time.Time
	condition condition
	name      string
}

func newTimeline(list v1alpha1.CertificateList, now time.Time) timeline {
	out := timeline{Width: 960}
	if leaves := endsOfCertificates(list.Items, now); len(leaves) > 0 {
		out.addPart("Certificates", leaves, now, 3*365*certs.Day)
	}
	if authorities := endsOfAuthorities(list.Authorities, now); len(authorities) > 0 {
		out.addPart("Certificate authorities", authorities, now, 30*365*certs.Day)
	}
	out.Text = endsInWords(list, now)
	return out
}

// endsOfCertificates sorts by service, and by node where there are few.
func endsOfCertificates(items []v1alpha1.Certificate, now time.Time) []timelineEnd {
	pairs := map[string]bool{}
	for i := range items {
		pairs[string(items[i].Service)+" "+items[i].Node] = true
	}
	byService := map[certs.Service][]timelineEnd{}
	for i := range items {
		c := &items[i]
		if c.NotAfter.IsZero() {
			continue
		}
		end := timelineEnd{lane: string(c.Service), at: c.NotAfter, condition: conditionOf(statusNow(c.Status, c.NotAfter, now)), name: c.Name + " on " + c.Node}
		if len(pairs) <= maxLanes {
			end.lane += " · " + c.Node
		}
		byService[c.Service] = append(byService[c.Service], end)
	}
	var out []timelineEnd
	for _, service := range certs.Services() {
		out = append(out, byService[service]...)
	}
	return out
}

func endsOfAuthorities(authorities []v1alpha1.Authority, now time.Time) []timelineEnd {
	var out []timelineEnd
	for _, a := range authorities {
		if !a.NotAfter.IsZero() && len(out) < maxLanes {
			out = append(out, timelineEnd{lane: a.Name, at: a.NotAfter, condition: conditionOf(statusNow(a.Status, a.NotAfter, now)), name: a.Name})
		}
	}
	return out
}

// axis turns times into places.
type axis struct{ from, to time.Time }

func (a axis) placeOf(t time.Time) int {
	share := float64(t.Sub(a.from)) / float64(a.to.Sub(a.from))
	return timelineLeft + int(min(max(share, 0), 1)*(timelineRight-timelineLeft))
}

func axisOf(ends []timelineEnd, now time.Time, farthest time.Duration) axis {
	out := axis{from: now, to: now.Add(60 * certs.Day)} // at least
	for _, e := range ends {
		if e.at.Before(out.from) {
			out.from = e.at
		}
		if e.at.After(out.to) {
			out.to = e.at
		}
	}
	// Earlier ends are drawn at the left edge, later ones at the right edge.
	if earliest := now.Add(-60 * certs.Day); out.from.Before(earliest) {
		out.from = earliest
	}
	if latest := now.Add(farthest); out.to.After(latest) {
		out.to = latest
	}
	margin := out.to.Sub(out.from) / 40
	return axis{from: out.from.Add(-margin), to: out.to.Add(margin)}
}

func (t *timeline) addPart(title string, ends []timelineEnd, now time.Time, farthest time.Duration) {
	scale := axisOf(ends, now, farthest)
	part := timelinePart{Title: title, TitleY: t.Height + 16, Top: t.Height + 24, Left: timelineLeft, Right: timelineRight,
		TodayX: scale.placeOf(now), ExpiringX: scale.placeOf(now.Add(certs.DefaultWithin))}
	y := part.Top
	lanes := map[string]int{}
	for _, e := range ends {
		i, known := lanes[e.lane]
		if !known {
			i = len(part.Lanes)
			lanes[e.lane] = i
			part.Lanes = append(part.Lanes, timelineLane{Label: shortLabel(e.lane), Y: y + laneHeight/2, TextY: y + laneHeight/2 + 4})
			y += laneHeight
		}
		part.Lanes[i].addEnd(e, scale.placeOf(e.at))
	}
	part.Bottom = y
	part.LabelY = y + 16
	part.Ticks = ticksOf(scale)
	t.Parts = append(t.Parts, part)
	t.Height = y + axisHeight
}

// addEnd joins an end with those that are drawn at the same place.
func (l *timelineLane) addEnd(e timelineEnd, x int) {
	x = x / bucketWidth * bucketWidth
	for i := range l.Marks {
		m := &l.Marks[i]
		if m.X != x-7 {
			continue
		}
		m.Count++
		if rankOf(e.condition) < rankOf(m.Condition) {
			m.Condition = e.condition
		}
		m.Title = printers.CountOf(m.Count, "certificate") + ", about " + printers.UTCDate(e.at)
		return
	}
	l.Marks = append(l.Marks, timelineMark{X: x - 7, Y: l.Y - 7, TextX: x + 9, Count: 1, Condition: e.condition,
		Title: e.name + ": " + printers.UTCMinute(e.at) + ", " + string(e.condition)})
}

// shortLabel fits into the space at the left.
func shortLabel(text string) string {
	const most = 34
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}

// ticksOf are dates at a distance that leaves room for their text.
func ticksOf(scale axis) []timelineTick {
	const most = 8
	width := scale.to.Sub(scale.from)
	var out []timelineTick
	for _, step := range []int{7, 14, 30, 90, 180, 365, 2 * 365, 5 * 365, 10 * 365} {
		distance := time.Duration(step) * certs.Day
		if width/distance > most {
			continue
		}
		for t := scale.from.Truncate(certs.Day).Add(distance); t.Before(scale.to); t = t.Add(distance) {
			out = append(out, timelineTick{X: scale.placeOf(t), Label: printers.UTCDate(t)})
		}
		break
	}
	return out
}

// endsInWords is the first end of each service and of each CA.
func endsInWords(list v1alpha1.CertificateList, now time.Time) []string {
	form := choiceForm{}
	for _, service := range certs.Services() {
		form.Services = append(form.Services, serviceChoice{Service: service, Word: unknown})
	}
	for i := range list.Items {
		form.addCertificate(&list.Items[i], now)
	}
	var out []string
	for _, service := range form.Services {
		if service.Count > 0 {
			out = append(out, fmt.Sprintf("%s: %s, the first ends %s, %s", service.Service, printers.CountOf(service.Count, "certificate"), printers.UTCMinute(service.First), service.Word))
		}
	}
	for _, a := range list.Authorities {
		out = append(out, fmt.Sprintf("CA %s: ends %s, %s", a.Name, printers.UTCMinute(a.NotAfter), conditionOf(statusNow(a.Status, a.NotAfter, now))))
	}
	return out
}
