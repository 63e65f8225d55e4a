"""The simulated market's departments and categories, and real words for what is sold in them."""

from __future__ import annotations

from ._words import Words

# department, words that name only the department, then its four categories with their nouns
_TREE = (
    ("Clothing", "fashion, outfit | giyim, moda | Mode, Bekleidung | moda, ropa", (
        ("Sneakers", "sneakers, trainers, running shoes | spor ayakkabı, sneaker ayakkabı, koşu ayakkabısı"
         " | Sneaker, Turnschuhe, Laufschuhe | zapatillas, zapatillas deportivas, zapatillas de correr"),
        ("Dresses", "dress, evening dress, summer dress | elbise, abiye elbise, yazlık elbise"
         " | Kleid, Abendkleid, Sommerkleid | vestido, vestido de noche, vestido de verano"),
        ("Jackets", "jacket, coat, parka | ceket, mont, kaban | Jacke, Mantel, Parka"
         " | chaqueta, abrigo, parka"),
        ("Shirts", "shirt, t-shirt, blouse | gömlek, tişört, bluz | Hemd, T-Shirt, Bluse"
         " | camisa, camiseta, blusa"),
    )),
    ("Kitchen", "kitchenware, for the kitchen | mutfak gereci, mutfak için | Küchenartikel, Küchenhelfer"
     " | menaje, para la cocina", (
        ("Cookware", "pot, frying pan, saucepan | tencere, tava, sos tenceresi | Topf, Bratpfanne, Kochtopf"
         " | olla, sartén, cacerola"),
        ("Knives", "kitchen knife, chef's knife, bread knife | mutfak bıçağı, şef bıçağı, ekmek bıçağı"
         " | Küchenmesser, Kochmesser, Brotmesser | cuchillo de cocina, cuchillo de chef, cuchillo de pan"),
        ("Coffee makers", "coffee machine, espresso machine, coffee maker"
         " | kahve makinesi, espresso makinesi"
         " | Kaffeemaschine, Espressomaschine | cafetera, cafetera de espresso, máquina de café"),
        ("Mugs", "mug, cup, tea cup | kupa, fincan, çay bardağı | Becher, Tasse, Teetasse"
         " | taza, tazón, taza de té"),
    )),
    ("Electronics", "device, gadget | cihaz, elektronik | Gerät, Elektronik | dispositivo, aparato", (
        ("Headphones", "headphones, earphones, headset | kulaklık, kulak içi kulaklık, kulaküstü kulaklık"
         " | Kopfhörer, Ohrhörer, Headset | auriculares, cascos, audífonos"),
        ("Phones", "smartphone, mobile phone, phone | akıllı telefon, cep telefonu, telefon"
         " | Smartphone, Handy, Mobiltelefon | smartphone, teléfono móvil, teléfono"),
        ("Laptops", "laptop, notebook computer, gaming laptop"
         " | dizüstü bilgisayar, laptop, oyuncu bilgisayarı"
         " | Laptop, Notebook-Computer, Gaming-Laptop | portátil, ordenador portátil, portátil de juegos"),
        ("Televisions", "television, smart TV, TV | televizyon, akıllı televizyon, TV"
         " | Fernseher, Smart-TV, TV-Gerät"
         " | televisor, televisión inteligente, TV"),
    )),
    ("Garden", "for the garden, outdoor item | bahçe için, bahçe ürünü | für den Garten, Gartenartikel"
     " | para el jardín, artículo de jardín", (
        ("Plant pots", "plant pot, flower pot, planter | saksı, çiçek saksısı, bitki saksısı"
         " | Blumentopf, Pflanzkübel, Übertopf | maceta, macetero, tiesto"),
        ("Lawn mowers", "lawn mower, grass cutter, robot mower"
         " | çim biçme makinesi, çim biçici, robot çim biçme"
         " | Rasenmäher, Grasmäher, Mähroboter | cortacésped, podadora de césped, robot cortacésped"),
        ("Garden hoses", "garden hose, water hose, hose reel | bahçe hortumu, su hortumu, hortum makarası"
         " | Gartenschlauch, Wasserschlauch, Schlauchtrommel"
         " | manguera, manguera de jardín, manguera de agua"),
        ("Grills", "barbecue grill, gas grill, charcoal grill | barbekü, mangal, gazlı ızgara"
         " | Grill, Gasgrill, Holzkohlegrill | barbacoa, parrilla, barbacoa de gas"),
    )),
    ("Toys", "for children, gift | çocuklar için, hediye | für Kinder, Geschenk | para niños, regalo", (
        ("Dolls", "doll, baby doll, rag doll | oyuncak bebek, bez bebek | Puppe, Babypuppe, Stoffpuppe"
         " | muñeca, muñeca bebé, muñeca de trapo"),
        ("Puzzles", "jigsaw puzzle, puzzle, 3D puzzle | yapboz, puzzle, 3D yapboz"
         " | Puzzle, Puzzlespiel, 3D-Puzzle"
         " | rompecabezas, puzle, puzle 3D"),
        ("Building blocks", "building blocks, toy bricks, construction set"
         " | yapı blokları, oyuncak tuğla, yapım seti"
         " | Bausteine, Bauklötze, Baukasten | bloques de construcción, ladrillos de juguete"),
        ("Toy cars", "toy car, model car, remote control car | oyuncak araba, model araba, kumandalı araba"
         " | Spielzeugauto, Modellauto, ferngesteuertes Auto | coche de juguete, coche teledirigido"),
    )),
    ("Furniture", "for the home, home decor | ev için, ev dekorasyonu | für die Wohnung, Wohnaccessoire"
     " | para el hogar, decoración", (
        ("Sofas", "sofa, couch, sofa bed | kanepe, koltuk, çekyat | Sofa, Couch, Schlafsofa"
         " | sofá, sofá cama, diván"),
        ("Chairs", "chair, dining chair, stool | sandalye, yemek sandalyesi, tabure"
         " | Stuhl, Esszimmerstuhl, Hocker"
         " | silla, silla de comedor, taburete"),
        ("Lamps", "lamp, floor lamp, table lamp | lamba, lambader, masa lambası"
         " | Lampe, Stehlampe, Tischlampe"
         " | lámpara, lámpara de pie, lámpara de mesa"),
        ("Mattresses", "mattress, spring mattress, foam mattress | yatak, yaylı yatak, sünger yatak"
         " | Matratze, Federkernmatratze, Schaummatratze | colchón, colchón de muelles, colchón de espuma"),
    )),
    ("Sports", "for sports, training gear | spor için, antrenman ürünü | für den Sport, Sportartikel"
     " | para deporte, equipo deportivo", (
        ("Bicycles", "bicycle, mountain bike, city bike | bisiklet, dağ bisikleti, şehir bisikleti"
         " | Fahrrad, Mountainbike, Citybike | bicicleta, bicicleta de montaña, bicicleta urbana"),
        ("Tents", "tent, camping tent, beach tent | çadır, kamp çadırı, plaj çadırı"
         " | Zelt, Campingzelt, Strandzelt"
         " | tienda de campaña, carpa, tienda de playa"),
        ("Dumbbells", "dumbbell, weights, kettlebell | dambıl, ağırlık, kettlebell"
         " | Hantel, Gewichte, Kurzhantel"
         " | mancuerna, pesas, pesa rusa"),
        ("Balls", "football, basketball, volleyball | futbol topu, basketbol topu, voleybol topu"
         " | Fußball, Basketball, Volleyball | balón de fútbol, balón de baloncesto, balón de voleibol"),
    )),
    ("Beauty", "beauty product, care | kozmetik, bakım | Kosmetik, Pflege | belleza, cuidado", (
        ("Perfumes", "perfume, eau de parfum, cologne | parfüm, kolonya | Parfüm, Duft, Kölnischwasser"
         " | perfume, colonia, fragancia"),
        ("Lipsticks", "lipstick, lip gloss, matte lipstick | ruj, dudak parlatıcısı, mat ruj"
         " | Lippenstift, Lipgloss, matter Lippenstift | pintalabios, brillo de labios, barra de labios"),
        ("Shampoos", "shampoo, hair shampoo, dry shampoo | şampuan, saç şampuanı, kuru şampuan"
         " | Shampoo, Haarshampoo, Trockenshampoo | champú, champú para el cabello, champú seco"),
        ("Hair dryers", "hair dryer, blow dryer | saç kurutma makinesi, fön makinesi | Haartrockner, Föhn"
         " | secador de pelo, secador"),
    )),
    ("Baby", "for babies, newborn | bebek için, yenidoğan | fürs Baby, Neugeborene"
     " | para bebés, recién nacido", (
        ("Strollers", "stroller, pushchair, pram | bebek arabası, puset | Kinderwagen, Buggy"
         " | cochecito de bebé, silla de paseo"),
        ("Diapers", "diapers, nappies | bebek bezi, alıştırma külotu | Windeln, Babywindeln"
         " | pañales, pañales de bebé"),
        ("Baby bottles", "baby bottle, feeding bottle | biberon, bebek biberonu"
         " | Babyflasche, Trinkflasche für Babys"
         " | biberón, botella de bebé"),
        ("Car seats", "child car seat, booster seat | oto koltuğu, çocuk oto koltuğu | Kindersitz, Autositz"
         " | silla de coche, asiento infantil"),
    )),
    ("Tools", "workshop, hardware | hırdavat, atölye | Werkzeug, Werkstatt | ferretería, taller", (
        ("Drills", "drill, cordless drill, hammer drill | matkap, şarjlı matkap, darbeli matkap"
         " | Bohrmaschine, Akkubohrer, Schlagbohrer | taladro, taladro inalámbrico, taladro percutor"),
        ("Hammers", "hammer, claw hammer, mallet | çekiç, marangoz çekici, tokmak"
         " | Hammer, Zimmermannshammer"
         " | martillo, martillo de carpintero, mazo"),
        ("Saws", "saw, hand saw, circular saw | testere, el testeresi, daire testere"
         " | Säge, Handsäge, Kreissäge"
         " | sierra, serrucho, sierra circular"),
        ("Ladders", "ladder, step ladder | merdiven, alüminyum merdiven | Leiter, Trittleiter"
         " | escalera, escalera plegable"),
    )),
    ("Pets", "for pets, animal care | evcil hayvan, hayvan bakımı | für Haustiere, Tierbedarf"
     " | mascotas, animales", (
        ("Dog food", "dog food, puppy food | köpek maması, yavru köpek maması | Hundefutter, Welpenfutter"
         " | comida para perros, pienso para perros"),
        ("Cat litter", "cat litter, clumping litter | kedi kumu, topaklanan kum | Katzenstreu, Klumpstreu"
         " | arena para gatos, arena aglomerante"),
        ("Aquariums", "aquarium, fish tank | akvaryum, balık tankı | Aquarium, Fischbecken"
         " | acuario, pecera"),
        ("Bird cages", "bird cage, parrot cage | kuş kafesi, papağan kafesi | Vogelkäfig, Papageienkäfig"
         " | jaula para pájaros, jaula para loros"),
    )),
    ("Office", "office supplies, stationery | ofis malzemesi, kırtasiye | Bürobedarf, Schreibwaren"
     " | oficina, papelería", (
        ("Pens", "ballpoint pen, fountain pen, pen | tükenmez kalem, dolma kalem | Kugelschreiber, Füller"
         " | bolígrafo, pluma estilográfica"),
        ("Notebooks", "paper notebook, diary, notepad | defter, ajanda, not defteri"
         " | Notizbuch, Tagebuch, Notizblock"
         " | cuaderno, diario, libreta"),
        ("Printers", "printer, laser printer, inkjet printer | yazıcı, lazer yazıcı | Drucker, Laserdrucker"
         " | impresora, impresora láser"),
        ("Desks", "desk, writing desk, standing desk | çalışma masası, yazı masası | Schreibtisch, Stehpult"
         " | escritorio, mesa de trabajo"),
    )),
    ("Music", "music, for musicians | müzik, müzisyenler için | Musik, für Musiker"
     " | música, para músicos", (
        ("Guitars", "guitar, acoustic guitar, electric guitar | gitar, akustik gitar, elektro gitar"
         " | Gitarre, Akustikgitarre, E-Gitarre | guitarra, guitarra acústica, guitarra eléctrica"),
        ("Pianos", "digital piano, keyboard synthesizer | dijital piyano, org | Digitalpiano, Klavier"
         " | piano digital, teclado musical"),
        ("Drums", "drum kit, snare drum | davul seti, trampet | Schlagzeug, Trommel | batería, tambor"),
        ("Microphones", "microphone, studio microphone | mikrofon, stüdyo mikrofonu"
         " | Mikrofon, Studiomikrofon"
         " | micrófono, micrófono de estudio"),
    )),
    ("Accessories", "accessory, elegant gift | aksesuar, şık hediye | Accessoire, Schmuckstück"
     " | accesorio, complemento", (
        ("Watches", "wristwatch, watch, chronograph | kol saati, saat, kronograf"
         " | Armbanduhr, Uhr, Chronograph"
         " | reloj de pulsera, reloj, cronógrafo"),
        ("Handbags", "handbag, shoulder bag, clutch | el çantası, omuz çantası | Handtasche, Umhängetasche"
         " | bolso, bolso de mano"),
        ("Sunglasses", "sunglasses, polarized glasses | güneş gözlüğü, polarize gözlük | Sonnenbrille"
         " | gafas de sol, gafas polarizadas"),
        ("Necklaces", "necklace, pendant | kolye, kolye ucu | Halskette, Anhänger | collar, colgante"),
    )),
    ("Car", "for the car, vehicle | araba için, oto | fürs Auto, Kfz | para el coche, vehículo", (
        ("Tyres", "winter tyre, summer tyre, tyre | kış lastiği, yaz lastiği, lastik"
         " | Winterreifen, Sommerreifen"
         " | neumático de invierno, neumático"),
        ("Engine oil", "engine oil, motor oil | motor yağı, motor yağlayıcı | Motoröl, Motorenöl"
         " | aceite de motor, lubricante de motor"),
        ("Dash cams", "dash cam, car camera | araç kamerası, yol kamerası | Dashcam, Autokamera"
         " | cámara de coche, cámara de salpicadero"),
        ("Car batteries", "car battery, starter battery | araba aküsü, akü | Autobatterie, Starterbatterie"
         " | batería de coche, batería de arranque"),
    )),
)  # fmt: skip

DEPARTMENTS = tuple(name for name, _, _ in _TREE)
DEPARTMENT_WORDS = tuple(Words.read(line) for _, line, _ in _TREE)
CATEGORIES = tuple(tuple(name for name, _ in rows) for _, _, rows in _TREE)
NOUNS = tuple(tuple(Words.read(line) for _, line in rows) for _, _, rows in _TREE)
CATEGORIES_PER_DEPARTMENT = 4
